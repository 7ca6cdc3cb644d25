bnmeani = hprebn.mean(0, keepdim=True)
bnvar = hprebn.var(0, keepdim=True, unbiased=True)
bnvar_inv = torch.rsqrt(bnvar + 1e-5)
bnraw = (hprebn - bnmeani) * bnvar_inv
hpreact = bngain * bnraw + bnbias
dhprebn = bngain * bnvar_inv / n * (n * dhpreact - dhpreact.sum(0) - n / (n - 1) * bnraw * (dhpreact * bnraw).sum(0))
