dgamma = np.sum(dy * x_hat, axis=0)
dx_hat = dy * gamma
dsigma = -np.sum(dx_hat * x_hat, axis=0) / sigma
dmu = -np.sum(dx_hat, axis=0) / sigma
dx = dx_hat / sigma + dsigma * x_hat / N + dmu / N
