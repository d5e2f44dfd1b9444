"""``npresnet bench --training``: a whole training step of the same network, in npresnet and in PyTorch.

A step is a forward pass in training mode, cross-entropy, a backward pass, and gradient descent with momentum and weight
decay; gradients begin at None. Processes, turns and ratios are those of inference (:mod:`npresnet.benchmark`), and
beside them, one file an idea:

* :mod:`.contestants`: who takes part, and why somebody does not;
* :mod:`.material`: the network, pictures and labels, and what a step must leave behind;
* :mod:`.learners`: how each engine takes a step; :mod:`.torch_cifar`: the networks for CIFAR in PyTorch;
* :mod:`.outcome`: what a step has left behind, in a file;
* :mod:`.check`: whoever learns something else is not timed;
* :mod:`.match` puts these together for a model, :mod:`.run` for all models; :mod:`.report`: the outcome for people.
"""
