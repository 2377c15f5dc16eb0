"""Files and folders of trained networks as people have them, read without running what is in them.

`content` opens a file of weights, `matching` finds the network's parameters in it, `folders` and
`bundles` know the layouts of Hugging Face and MONAI, and `programs` opens files that are a network
themselves. `sources` says which of these a name after `--models` means.
"""
