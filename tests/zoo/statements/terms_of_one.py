dx = dxhat * ivar
dx += -np.mean(dxhat, axis=0) * ivar
dx += -xhat * np.mean(dxhat * xhat, axis=0) * ivar
