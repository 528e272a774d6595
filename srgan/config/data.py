"""The sections `data` and `batches`: pictures, how they are prepared, and what a step sees of them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from srgan.config.section import Count, Ends, NotNegative, Rate, Section, Share, Text


class Data(Section):
    """Which pictures are trained on, and how they are prepared, once."""

    pictures: Text
    """Folder of the training pictures."""
    annotations: Text | None = None
    """COCO instances JSON that lists the pictures; null: every picture of the folder."""
    count: Count | None = None
    """How many pictures, drawn by the seed; null: all."""
    categories: list[str] = []
    """Only pictures that show one of these COCO categories; empty: any."""
    minimum_side: Annotated[int, Field(ge=0)] = 0
    """Pictures with a shorter side, in pixels, are left out."""
    validation_pictures: Text | None = None
    """Folder of the validation pictures; null: they are held back from `pictures`."""
    validation_annotations: Text | None = None
    """COCO instances JSON that lists the validation pictures; null: every picture of the folder."""
    validation_count: Annotated[int, Field(ge=0)] | None = None
    """How many validation pictures; null: all of `validation_pictures`, or a tenth of `pictures`, at most 50."""
    low_resolution: Text | None = None
    """Folder of the low resolutions of `pictures`, matched by name; `x2`, `x3` or `x4` at the end of a name is ignored.
    Both are cut into squares as they are. null: they are made by bicubic."""
    validation_low_resolution: Text | None = None
    """The same for `validation_pictures`."""
    size: Annotated[int, Field(ge=16)] = 384
    """Side of the prepared squares in pixels."""
    fit: Literal["squash", "crop", "tile"] = "squash"
    """How a picture becomes square: `squash` ignores the aspect ratio, `crop` takes the centre, `tile` cuts it into
    several squares."""
    maximum_noise: Annotated[float, Field(gt=0)] | None = None
    """Training pictures with more noise in their flat parts than this, in levels of 255 and after `shrink`, are left
    out; null: none are."""
    shrink: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor by which pictures are reduced first, to remove JPEG artifacts, unless they would become smaller than
    `size`."""
    clips: Text | None = None
    """Folder of video files and of folders of numbered frames, used beside `pictures` with network.fusion."""
    validation_clips: Text | None = None
    """The same for validation; null: with network.fusion, motion is synthesised from the validation pictures."""
    store: Text | None = None
    """Folder of the prepared pictures; null: srgan/stores in the user's cache folder."""


class Photograph(Section):
    """What `batches.degradation: photograph` draws. Single numbers are probabilities and pairs are ranges, unless
    stated otherwise. Lengths are in pixels of the low resolution, levels are of 255."""

    clean: Share = 0.1
    """Pictures that are left as they are."""
    mild: Share = 0.25
    """Pictures that get a little noise and JPEG, and nothing else."""
    mild_noise: NotNegative = 3.0
    """Most noise of a mild picture, in levels."""
    mild_quality: Ends = (85, 97)
    """JPEG quality of a mild picture."""
    blur: Share = 0.6
    """Pictures that are blurred."""
    blur_sigma: Ends = (0.1, 1.0)
    """Standard deviation of a blur in pixels."""
    motion: Share = 0.1
    """Share of the blurs that are motion blur."""
    motion_length: Ends = (1, 3)
    """Length of a motion blur in pixels."""
    noise: Share = 0.8
    """Pictures that get noise."""
    noise_level: Ends = (1, 20)
    """Luma noise in levels, above 0; mostly little: of 1 to 20, half of it is under 2.2."""
    correlated: Share = 0.6
    """Share of the noise whose luma is smoothed."""
    luma_smoothing: Ends = (0, 1.2)
    """Standard deviation, in pixels, of the Gaussian that smooths luma noise."""
    chroma_smoothing: Ends = (0.3, 2.5)
    """The same for chroma noise."""
    chroma_noise: Ends = (0.2, 1.0)
    """Chroma noise relative to luma noise."""
    photon: Share = 0.5
    """Share of the noise that grows with brightness."""
    sharpen: Share = 0.33
    """Pictures that are sharpened after the noise."""
    sharpen_sigma: Ends = (0.6, 1.5)
    """Standard deviation of the unsharp mask in pixels."""
    sharpen_amount: Ends = (0.2, 1.0)
    """Strength of the unsharp mask."""
    resize: Share = 0.5
    """Pictures that are resized in between; one round or two, equally likely."""
    resize_factor: Ends = (0.7, 1.4)
    """Factor of such a resize."""
    jpeg: Share = 0.95
    """Pictures that are compressed."""
    quality: Ends = (80, 95)
    """JPEG quality."""
    strong_jpeg: Share = 0.15
    """Share of the JPEGs that are compressed strongly."""
    strong_quality: Ends = (35, 80)
    """JPEG quality of these."""
    subsampled: Share = 0.7
    """Share of the JPEGs with 4:2:0 chroma subsampling; the others have 4:4:4."""
    webp: Share = 0.05
    """Share of the compressed pictures that are WebP instead of JPEG."""

    @model_validator(mode="after")
    def _ranges_rise(self):
        for key, value in self:
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{key} = {list(value)}: must rise")
        for key in ("noise_level", "resize_factor"):
            if not getattr(self, key)[0]:
                raise ValueError(f"{key} = {list(getattr(self, key))}: must be above 0")
        if self.clean + self.mild > 1:
            raise ValueError(f"mild = {self.mild}: must be at most 1 with clean = {self.clean}")
        return self


class Batches(Section):
    """What a training step is given."""

    size: Count = 16
    """Crops per batch."""
    crop: Annotated[int, Field(ge=8)] = 96
    """Side of a crop in high-resolution pixels."""
    augment: bool = True
    """Random flips and quarter turns."""
    degradation: Literal["bicubic", "realistic", "photograph"] = "bicubic"
    """How the low resolution is made: `bicubic` alone; `realistic`: Real-ESRGAN's blur, noise and JPEG, milder;
    `photograph`: what a camera does."""
    photograph: Photograph = Photograph()
    clip_share: Rate = 0.5
    """Share of the crops that are cut from data.clips, where that is given."""
    accumulate: Count = 1
    """How many batches make a step, which follows their mean gradient: for more crops per step than fit into memory.
    Batch normalisation sees each batch by itself."""
    steps_per_epoch: Count = 1000
    """Steps per epoch, whatever the number of pictures."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Threads that cut batches; 0: the training thread does."""
