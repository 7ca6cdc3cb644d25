dL_dbeta = np.sum(dL_dy, axis=0)
dL_dgamma = np.sum(dL_dy * x_hat, axis=0)
dL_dxhat = dL_dy * gamma
grad_var = np.sum(dL_dxhat * (x - mu) * -0.5 * (sigma2 + epsilon) ** -1.5, axis=0)
grad_mu = np.sum(dL_dxhat * -1 / np.sqrt(sigma2 + epsilon), axis=0)
dL_dx = dL_dxhat / np.sqrt(sigma2 + epsilon) + grad_var * 2 * (x - mu) / N + grad_mu / N
