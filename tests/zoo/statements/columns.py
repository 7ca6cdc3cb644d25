m = z.shape[1]
mu = np.mean(z, axis=1, keepdims=True)
sigma2 = np.var(z, axis=1, keepdims=True)
z_norm = (z - mu) / np.sqrt(sigma2 + 1e-8)
out = gamma * z_norm + beta
dbeta = np.sum(dout, axis=1, keepdims=True)
dgamma = np.sum(dout * z_norm, axis=1, keepdims=True)
dz_norm = dout * gamma
dsigma2 = np.sum(dz_norm * (z - mu), axis=1, keepdims=True) * -0.5 * (sigma2 + 1e-8) ** -1.5
dmu = np.sum(-dz_norm / np.sqrt(sigma2 + 1e-8), axis=1, keepdims=True)
dz = dz_norm / np.sqrt(sigma2 + 1e-8) + dsigma2 * 2 * (z - mu) / m + dmu / m
