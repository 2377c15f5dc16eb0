"""Networks: how they are built, the classifier around them, their weights, costs and devices.

`building` calls a factory. `classifier` puts `preprocessing` in front of a network and `adapters`
behind it, evaluates it in `batches`, and makes it faster (`acceleration`). `fitting` chooses the
adapter on clean volumes, as far as the user has not `asked` for one. `checkpoints` reads and writes
weights with their model `cards`. `costs` measures one network, `cost_table` all of them for
`bench costs`. `devices` chooses the device and the batch size.
"""
