dbeta = dout
dvar = dx_hat * (x - mean) * -0.5 * (var + eps) ** -1.5
dmean = np.sum(-dx_hat / std, axis=0)
dx = dx_hat / std + dvar * 2 * (x - mean) / N + dmean / N
