mean = torch.mean(x, dim=0, keepdim=True)
std = torch.sqrt(x.var(dim=0, keepdim=True) + eps)
x_hat = (x - mean).div(std)
out = gamma.mul(x_hat).add(beta)
dgamma = torch.sum(dout * x_hat, dim=0, keepdim=True)
dbeta = torch.sum(dout, dim=0, keepdim=True)
dx_hat = dout * gamma
dstd = torch.sum(dx_hat * (mean - x), dim=0, keepdim=True) / std.square()
dvar = dstd / 2 / std
dx = (dx_hat - dx_hat.mean(dim=0)) / std + dvar * 2 * (x - mean) / (x.size(0) - 1)
