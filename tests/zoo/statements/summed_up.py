dxc = dxhat / std
dstd = -np.sum(dxhat * xc, axis=0) / (std * std)
dvar = 0.5 * dstd / std
dxc += 2.0 / N * xc * dvar
dmu = np.sum(dxc, axis=0)
dx = dxc - dmu / N
