"""The table of options that are also config keys, in the order of the fields of `RunConfig`."""

from __future__ import annotations

from pathlib import Path

from benchharness.cli.option import Option, Panel

TABLE: tuple[Option, ...] = (
    Option(
        key="models",
        panel=Panel.MODELS,
        metavar="NAMES",
        help="Names, package.module:factory, or files such as onnx:FILE, separated by commas.",
    ),
    Option(
        key="checkpoint",
        panel=Panel.MODELS,
        metavar="MODEL=PATH",
        kind=list[str],
        help="Your own weights: model=path, model@dataset=path or model#seed=path. Repeatable.",
        aliases=("--checkpoints",),
    ),
    Option(
        key="outputs",
        panel=Panel.MODELS,
        metavar="WHAT",
        kind=list[str],
        help="Where your network's logits are, or what it returns, if that is not found: 0, "
        "heads.main, logit, probabilities, or model=WHAT. Repeatable.",
    ),
    Option(
        key="trust",
        panel=Panel.MODELS,
        kind=bool,
        help="Open files that can run code: TorchScript, .pt2, expressions of MONAI bundles.",
    ),
    Option(
        key="datasets",
        panel=Panel.DATA,
        metavar="NAMES",
        help="Names, groups, or paths of an .npz file, a folder or a CSV.",
        aliases=("--dataset",),
    ),
    Option(
        key="limit",
        panel=Panel.DATA,
        metavar="N",
        kind=int,
        help="Evaluate only N test volumes, stratified by class.",
        unset="all",
    ),
    Option(
        key="data_root",
        panel=Panel.DATA,
        metavar="FOLDER",
        kind=Path,
        help="Folder of the MedMNIST archives.",
        unset="$BENCH_DATA_ROOT, else ~/.medmnist",
    ),
    Option(
        key="size",
        panel=Panel.DATA,
        metavar="VOXELS",
        help="Grid of volumes from a folder or CSV: 28, or 16,64,64.",
    ),
    Option(
        key="spacing",
        panel=Panel.DATA,
        metavar="MM",
        help="Spacing of that grid in mm: 1.5, or 3,1,1, or fit.",
        unset="fit",
    ),
    Option(
        key="window",
        panel=Panel.DATA,
        metavar="WINDOW",
        help="Intensities that become 0 and 1: percentiles:LOW,HIGH, ct:LEVEL,WIDTH or "
        "range:LOW,HIGH.",
    ),
    Option(
        key="modality",
        panel=Panel.DATA,
        metavar="NAME",
        help="What these volumes show: mri, ct, x-ray, …",
        unset="unknown",
    ),
    Option(
        key="bits",
        panel=Panel.DATA,
        metavar="8|16",
        help="Bits that are kept of each of their voxels.",
    ),
    Option(
        key="channels",
        panel=Panel.DATA,
        metavar="N or COLUMNS",
        help="Sequences as channels: how many a file holds, or columns of a CSV: t1,flair.",
        unset="one channel",
    ),
    Option(
        key="classes",
        panel=Panel.DATA,
        metavar="NAMES",
        help="Classes of your own data, in the order of their labels.",
        unset="sorted",
    ),
    Option(
        key="attacks",
        panel=Panel.ATTACKS,
        metavar="NAMES",
        help="Attacks, separated by commas, or all.",
        aliases=("--attack",),
    ),
    Option(
        key="eps",
        panel=Panel.ATTACKS,
        metavar="NUMBERS",
        help="Budgets of L∞ and L2 attacks, from 0 to 1.",
    ),
    Option(
        key="counts",
        panel=Panel.ATTACKS,
        metavar="NUMBERS",
        help="Budgets of sparse attacks: voxels, slices or the side of a cube.",
    ),
    Option(
        key="accuracy_only",
        panel=Panel.ATTACKS,
        kind=bool,
        help="Skip volumes that are misclassified when clean or at a smaller budget; no AUC.",
    ),
    Option(
        key="perturbation_seed",
        panel=Panel.ATTACKS,
        metavar="SEED",
        kind=int,
        help="Seed of attacks and artefacts.",
    ),
    Option(
        key="artefacts",
        panel=Panel.ARTEFACTS,
        metavar="NAMES",
        help="Artefacts, separated by commas, or all, mr, ct, general, geometric.",
        aliases=("--artifacts", "--artefact", "--artifact"),
    ),
    Option(
        key="severities",
        panel=Panel.ARTEFACTS,
        metavar="LEVELS",
        help="Levels of the artefacts, such as 1-5 or 1,3,5.",
        aliases=("--severity",),
    ),
    Option(
        key="fast_artefacts",
        panel=Panel.ARTEFACTS,
        kind=bool,
        help="Compute artefacts in batches on the device where possible; separate cells.",
    ),
    Option(
        key="seeds",
        panel=Panel.TRAINING,
        metavar="SEEDS",
        help="Training seeds, such as 0,1,2.",
    ),
    Option(
        key="recipes",
        panel=Panel.TRAINING,
        metavar="NAMES",
        help="How to train, separated by commas: quick, medmnist, strong, adv_pgd, …",
        unset="the dataset's own",
        aliases=("--recipe",),
    ),
    Option(
        key="init",
        panel=Panel.TRAINING,
        metavar="PATH",
        kind=list[str],
        help="Weights to start training from: path or model=path. May be repeated.",
    ),
    Option(
        key="init_method",
        panel=Panel.TRAINING,
        metavar="NAME",
        help="How a network adopts them; MedViT-3D takes centre or mean.",
    ),
    Option(
        key="train",
        panel=Panel.TRAINING,
        kind=bool,
        help="Refuse to train missing checkpoints.",
    ),
    Option(
        key="out",
        panel=Panel.OUTPUT,
        metavar="FOLDER",
        kind=Path,
        help="Folder of records, predictions and checkpoints.",
    ),
    Option(
        key="device",
        panel=Panel.DEVICE,
        metavar="NAME",
        help="auto, cpu, cuda or cuda:1; for several workers cuda:0,cuda:1 or cuda:all.",
    ),
    Option(
        key="workers",
        panel=Panel.DEVICE,
        metavar="N",
        help="Processes that share the work, each with its share of the cores or its device; auto "
        "measures which number suits.",
        unset="1, or one for each device",
    ),
    Option(
        key="batch_size",
        panel=Panel.DEVICE,
        metavar="N",
        help="Volumes per forward pass, or auto.",
        unset="auto",
    ),
    Option(
        key="compile",
        panel=Panel.DEVICE,
        kind=bool,
        help="Evaluate through torch.compile, with CUDA graphs on a GPU.",
    ),
)
"""`benchharness.cli.options` makes flags of it."""
