import numpy as np


class BatchNormalization:
    """lua torch in numpy"""
    EPS = 1e-3

    def __init__(self, n_out):
        self.gamma = np.ones(n_out)
        self.beta = np.zeros(n_out)
        self.gradGamma = np.zeros(n_out)
        self.gradBeta = np.zeros(n_out)
        self.training = True

    def updateOutput(self, input):
        self.batch_mean = np.mean(input, axis=0)
        self.inv = 1 / np.sqrt(np.var(input, axis=0) + self.EPS)
        self.hat = (input - self.batch_mean) * self.inv
        self.output = self.hat * self.gamma + self.beta
        return self.output

    def updateGradInput(self, input, gradOutput):
        self.gradGamma = np.sum(gradOutput * self.hat, axis=0)
        self.gradBeta = np.sum(gradOutput, axis=0)
        g = gradOutput * self.gamma
        self.gradInput = self.inv * (g - g.mean(axis=0) - self.hat * np.mean(g * self.hat, axis=0))
        return self.gradInput
