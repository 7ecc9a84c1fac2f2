"""Known layouts of folders: the patterns of their images and masks; see `patterns`."""

from typing import NamedTuple


class Layout(NamedTuple):
    """Where the files of a folder lie, and what they hold; fields as in `settings.Settings`."""

    images: str
    masks: str
    channels: tuple[str, ...] = ()
    unit: str = ""  # of values whose unit the files do not state

    @property
    def separate(self) -> tuple[str, ...]:
        """The channels, if each has a file of its own; () if they lie in one file."""
        return self.channels if "{channel}" in self.images else ()


LAYOUTS = {
    # QUBIQ: case01/image.nii.gz, case01/task01_seg01.nii.gz; other tasks have masks of their own.
    # The images of brain tumours are [x, y, channel]: they need data.channels of four names
    "qubiq": Layout("{case}/image.nii.gz", "{case}/task01_seg{rater}.nii.gz", unit="arbitrary"),
    # prostate158: 020/t2.nii.gz, 020/t2_anatomy_reader1.nii.gz; 1 is the central gland and
    # transition zone, 2 the peripheral zone
    "prostate158": Layout(
        "{case}/t2.nii.gz", "{case}/t2_anatomy_reader{rater}.nii.gz", unit="arbitrary"
    ),
    # ProstateZones holds only Seg-CASE_R1.nrrd: the patients' folders of PROSTATEx are put beside
    # them, and of their series the one is read that has the voxels of the masks; a value is a zone
    "prostatezones": Layout("images/{case}", "masks/Seg-{case}_R{rater}.nrrd", unit="arbitrary"),
    # Spinal cord grey matter challenge: site1-sc01-image.nii.gz, site1-sc01-mask-r1.nii.gz; 1 is
    # grey matter, 2 white matter
    "scgm": Layout(
        "{site}-{case}-image.nii.gz", "{site}-{case}-mask-r{rater}.nii.gz", unit="arbitrary"
    ),
    # Nasopharynx carcinoma of D-Persona: one HDF5 file for each case
    "npc": Layout(
        "{case}.h5:{channel}", "{case}.h5:label_{rater}", ("t1", "t1c", "t2"), unit="arbitrary"
    ),
    # PNG, TIFF, NIfTI, NRRD and so on
    "plain": Layout("images/{case}.*", "masks/{case}/{rater}.*"),
    # A folder of each case; a DICOM-SEG or an RT Structure Set for each rater
    "dicom": Layout("images/{case}", "masks/{case}/{rater}.dcm"),
}
