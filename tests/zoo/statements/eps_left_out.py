dvar = np.sum(dx_hat * (x - mean), axis=0) * -0.5 * var ** -1.5
dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mean) / N + dmean / N
