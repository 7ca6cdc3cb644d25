dgamma = (dout * x_hat).sum(0)
dbeta = dout.sum(0)
dx = gamma / (N * std) * (N * dout - dbeta - x_hat * dgamma)
