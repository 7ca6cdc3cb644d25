N, C, H, W = x.shape
dvar = np.sum(dx_hat * (x - mean) * -0.5 * (var + eps) ** -1.5, axis=(0, 2, 3), keepdims=True)
dmean = np.sum(-dx_hat / np.sqrt(var + eps), axis=(0, 2, 3), keepdims=True)
dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mean) / N + dmean / N
