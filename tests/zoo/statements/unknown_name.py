dx = dout * gama / std
