import os

dx = dout * gamma
