"""Defines every config field once: its default and its meaning. Data-set configs override some.

The config is locked: a field that is not listed here, such as a misspelt one, is an error.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns the defaults: the full-size run on the embedded contours of LIDC-IDRI."""
    c = ml_collections.ConfigDict()
    c.seed = 0  # seed of all random draws
    c.parallel = "mesh"  # "mesh": jit over all devices; "pmap": the same step under pmap
    c.batch_size = 12  # images per step, over all devices and processes
    c.steps = 30_000  # optimiser updates
    c.log_every_steps = 50
    c.checkpoint_every_steps = 500
    c.data = _data()
    c.augment = _augment()
    c.model = _model()
    c.loss = _loss()
    c.prompts = _prompts()
    c.stage_two = _stage_two()
    c.optimizer = _optimizer()
    c.evaluate = _evaluate()
    return c


def shrink(c: ml_collections.ConfigDict) -> None:
    """Makes a run as small as it can be, in place: seconds, for tests; its scores mean nothing."""
    c.model.channels = (4, 8)
    c.model.convs_per_scale = 1
    c.batch_size = 4
    c.steps = 4
    c.stage_two.steps = 4
    c.stage_two.batch_size = 4
    c.stage_two.width = 8
    c.stage_two.views = 1
    c.loss.samples = 3
    c.evaluate.every_steps = 2
    c.evaluate.validation_samples = 4
    c.evaluate.temperatures = ()
    c.evaluate.samples = 6
    c.evaluate.bootstrap = 50
    c.evaluate.panels = 2
    c.log_every_steps = 1
    c.checkpoint_every_steps = 2


def _data() -> ml_collections.ConfigDict:
    """Data set, geometry and splits."""
    data = ml_collections.ConfigDict()
    data.source = "simulated"  # simulated | phantom | dicom | npz | pickled | crops | folder
    data.path = ""  # file or folder of the source; "simulated" and "phantom" need none
    data.phantom_cases = 50  # patients of the source "phantom"
    data.train_path = ""  # a second one of the same source, whose records only train; "": none
    data.leave_out = ()  # ids of patients that are in no split
    data.cache_dir = (
        "~/.cache/prosona_jax"  # prepared data sets, one folder per source and settings
    )
    data.size = 128  # height and width of the model's input, pixels
    data.spacing_mm = 0.5  # resample to this pixel size; 0 keeps each image's own
    # "all": slices that all raters drew on; "largest": one of these; "any": one rater drew, or more
    data.slices = "all"
    # With "any": this many more slices beyond both ends, on which no rater drew. A model that draws
    # through a scan must have seen some. They train, and count in the scores of volumes alone.
    data.slices_beyond = 0
    data.crop = "middle"  # of a volume, around the "middle" of the image or the "organ" (its masks)
    data.window_hu = (-1000.0, 400.0)  # images in HU: clipped and scaled to -1..1
    data.percentiles = (1.0, 99.0)  # images in arbitrary units: clipped at these, scaled to -1..1
    data.folds = 4  # patient folds; 0 takes the splits that the source itself declares
    data.fold = 0  # the test fold, 0-based
    data.test_site = ""  # this site's records are the test set instead of a fold's; "": no site
    data.validation_share = 0.15  # share of the other folds' patients kept for validation
    data.split = "test"  # the split that is scored: test | validation | train | all
    data.raters = "stored"  # mask k of a record is rater k as "stored", or k-th smallest "by_area"
    # Above 0, a rater without a mask saw no object, and images that fewer raters drew are left out.
    # 0: a missing rater is unknown, and of LIDC-IDRI only nodules of four raters are read.
    data.min_raters = 0
    data.on_error = "raise"  # on a corrupt record: "raise" stops, "skip" omits and counts it
    # The next six are for the source "folder"; see docs/data.md.
    data.layout = ""  # known layout of the folder, such as "qubiq"; "": the two patterns say it
    data.images = ""  # pattern of the image files, such as "images/{case}.nii.gz"
    data.masks = ""  # pattern of the mask files, such as "masks/{case}/{rater}.nii.gz"
    data.channels = ()  # what {channel} in data.images stands for; without it, those of each file
    data.label = ()  # values of the mask files that are the object; (): all above 0
    data.unit = ""  # HU | unit (0..1) | arbitrary, if the files do not state it
    return data


def _augment() -> ml_collections.ConfigDict:
    """Random changes of the training images."""
    augment = ml_collections.ConfigDict()
    augment.flip = True  # mirror rows and columns, each with probability 1/2
    augment.rotate_degrees = 180.0  # rotation drawn uniformly from +- this
    augment.scale = 0.15  # zoom factor exp(u), u drawn uniformly from +- this
    augment.shift_px = 3.0  # translation along each axis drawn uniformly from +- this, pixels
    augment.gain = 0.1  # contrast factor exp(u), u drawn uniformly from +- this
    augment.offset = 0.05  # brightness added, uniform in +- this (the image spans -1..1)
    return augment


def _model() -> ml_collections.ConfigDict:
    """The probabilistic U-Net."""
    model = ml_collections.ConfigDict()
    # "prob_unet", or a baseline without a prior, which `compare` alone trains: "consensus" |
    # "branches" | "unet_per_rater" | "pionono"; see docs/method.md.
    model.network = "prob_unet"
    model.channels = (16, 32, 64, 128, 256)  # filters per scale; F = channels[0]
    model.convs_per_scale = 3
    model.norm = "group"  # GroupNorm after each convolution; "none" leaves it out
    model.latent_dim = 6  # d
    model.fcomb_layers = 4  # 1x1 convolutions from features and latent to the logit
    model.posterior_input = "single"  # "single": the target mask; "all": every rater's mask
    model.dtype = "float32"  # "bfloat16": convolutions compute in it; parameters stay float32
    return model


def _loss() -> ml_collections.ConfigDict:
    """The objective of stage one."""
    loss = ml_collections.ConfigDict()
    loss.dice = 1.0  # weight of the soft Dice loss per image: posterior's sample against one rater
    loss.cross_entropy = 1.0  # weight of the mean pixel cross-entropy of the same two masks
    loss.kl = 0.001  # beta, weight of the KL term; at 0.05 posterior and prior hardly differ
    loss.kl_warmup_steps = 0  # beta rises linearly from 0 over this many steps
    loss.free_bits = 0.0  # nats per latent dimension; the KL term pushes no dimension below them
    loss.bound = 0.0  # weight: union and intersection of prior samples against those of the raters
    loss.ged = 1.0  # weight of the soft generalised energy distance of prior samples
    loss.samples = 10  # M, number of prior samples for bound and ged
    return loss


def _prompts() -> ml_collections.ConfigDict:
    """The sentences and their encoder."""
    prompts = ml_collections.ConfigDict()
    # One style per rater, each with its sentences; "measured": the run measures how its raters
    # outline, and writes the sentences itself.
    prompts.path = "configs/prompts/lidc.yaml"
    # With "measured": raters whom no habit tells apart share one card, measured on them together.
    prompts.merge = False
    # A file of prosona_jax.train_reader: sentences are read as one number, how generous the outline
    # shall be. "": the encoder's embeddings, where styles differ in other ways too.
    prompts.degree_reader = ""
    prompts.encoder = "all-MiniLM-L6-v2"  # name on the Hugging Face hub, or a folder
    prompts.probe = ""  # folder of test sentences with degrees, for the report; "": none
    return prompts


def _stage_two() -> ml_collections.ConfigDict:
    """Queries, projection and objective of stage two."""
    two = ml_collections.ConfigDict()
    # text | habits (sentences are read as measured habits, numbers too; needs measured cards)
    # | id (a learned vector per style) | heads (D-Persona's) | none
    two.query = "text"
    # Norm of the noise that training adds to prompt embeddings of norm 1, or to degrees.
    two.text_noise = 0.4
    two.width = 128  # units of the query's hidden layer and of the contrastive space
    two.projection = "analytic"  # "analytic", or "bank": softmax over samples of the prior
    two.tau = 0.1  # temperature of the projection; it also scales how fast the query learns
    two.codes = 100  # number of prior samples in the bank, in training
    two.test_codes = 500  # the same in evaluation
    two.dice = 1.0  # weight of the soft Dice loss per image of style k's mask, mean over styles
    two.cross_entropy = 1.0  # weight of the mean pixel cross-entropy of the same masks
    # Weight of the soft generalised energy distance between an image's K styles and its raters. It
    # draws the styles apart: their GED falls, and each one's Dice falls a little.
    two.ged = 0.0
    two.latent = 0.1  # weight of the contrastive loss of prompts and raters' latent offsets
    two.visual = 0.1  # weight of the contrastive loss of prompts and features under raters' masks
    two.views = 4  # augmented copies per training image; a copy takes H W (2 F + R) bytes of RAM
    two.batch_size = 12  # images per step, over all devices and processes
    two.steps = 2000  # optimiser updates; validates and saves as often as stage one
    two.learning_rate = 1e-3  # peak; other settings as in c.optimizer, but without warm-up
    return two


def _optimizer() -> ml_collections.ConfigDict:
    """The optimiser of both stages."""
    optimizer = ml_collections.ConfigDict()
    optimizer.learning_rate = 1e-3  # peak, Adam with cosine decay to zero
    optimizer.warmup_steps = 0
    optimizer.weight_decay = 0.0  # decoupled (AdamW), on kernels only
    optimizer.clip_norm = 5.0  # limit on the gradient's global norm; must be above 0
    optimizer.ema_decay = 0.99  # evaluate an exponential moving average of the parameters; 0: off
    return optimizer


def _evaluate() -> ml_collections.ConfigDict:
    """Validation, scores and report."""
    evaluate = ml_collections.ConfigDict()
    evaluate.every_steps = 1000  # validate, keep the best: lowest GED, stage two: highest dice_mean
    evaluate.validation_samples = 16  # samples per image, S, in validation
    # Factors on the prior's sigma. After stage one's training, the one with the best soft Dice on
    # validation patients is chosen, if its GED is not above that without. (): none.
    evaluate.temperatures = (0.75, 0.8, 0.85, 0.9, 0.95)
    evaluate.samples = 50  # samples per image, S, in the report
    evaluate.batch_size = 16
    # What the slices of a volume share in its scores: one latent ("volume"); one draw, with a prior
    # for each slice, as predict draws a scan ("draw"); or nothing ("slice").
    evaluate.latent = "draw"
    evaluate.mirror = True  # average the features U(x) over the eight mirrored and rotated images
    evaluate.bootstrap = 2000  # resamples of the patients for each interval
    evaluate.panels = 6  # test records shown in the report
    evaluate.tolerance_mm = 1.0  # contours nearer than this agree, in the normalised surface Dice
    return evaluate
