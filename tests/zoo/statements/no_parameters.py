mean = x.mean(0)
std = np.sqrt(x.var(0) + eps)
out = (x - mean) / std
dx = (dout - dout.mean(0) - out * (dout * out).mean(0)) / std
