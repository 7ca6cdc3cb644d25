dbeta = np.mean(dout, axis=0)
dgamma = np.mean(dout * x_hat, axis=0)
dx = gamma / std * (dout - dbeta - x_hat * dgamma)
