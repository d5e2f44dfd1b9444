"""Style: row by row; the loss is an array without axes.

Solves: softmax_cross_entropy
"""
import numpy as np


def softmax_cross_entropy(logits, labels):
    losses, rows = [], []
    for row, label in zip(logits, labels):
        a = row.max()
        s = a + np.log(np.sum(np.exp(row - a)))
        losses.append(s - row[label])
        g = np.exp(row - s)
        g[label] = g[label] - 1
        rows.append(g)
    return np.array(np.mean(losses)), np.vstack(rows) / len(rows)
