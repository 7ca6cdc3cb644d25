mu = np.mean(X, axis=0)
sigma = np.var(X, axis=0)
X_norm = (X - mu) / np.sqrt(sigma + eps)
out = gamma * X_norm + beta
dX_norm = dout * gamma
dsigma = np.sum(dX_norm * (X - mu), axis=0) * -0.5 * (sigma + eps) ** (-3 / 2)
dmu = np.sum(-dX_norm / np.sqrt(sigma + eps), axis=0) + dsigma * np.mean(-2 * (X - mu), axis=0)
dX = dX_norm / np.sqrt(sigma + eps) + dsigma * 2 * (X - mu) / len(X) + dmu / len(X)
