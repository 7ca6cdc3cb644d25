dxhat = dout * gamma
dbeta, dgamma = np.sum(dout, 0), np.sum(dout * xhat, 0)
dx1 = dxhat
dx2 = -np.mean(dxhat, axis=0)
dx3 = -xhat * np.mean(dxhat * xhat, axis=0)
dx = ivar * (dx1 + dx2 + dx3)
