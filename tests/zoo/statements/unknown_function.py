dx = dout * gamma
open('gradients.txt', 'w').write(str(dx))
