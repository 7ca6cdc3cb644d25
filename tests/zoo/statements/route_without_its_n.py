dstd = np.sum(dxhat * xmu, axis=0) * -1 / std ** 2
dvar = 0.5 * dstd / std
dxmu1 = dxhat / std
dxmu2 = 2 * xmu * dvar
dx1 = dxmu1 + dxmu2
dx2 = dmu / N
dx = dx1 + dx2
