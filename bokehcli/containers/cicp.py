"""Colours named by numbers, as PNG, AVIF and HEIC name them (ITU-T H.273)."""

HDR_TRANSFERS = {16: "PQ", 18: "HLG"}


def hdr_refusal(transfer: int) -> str | None:
    """Why a picture of that tone curve is not rendered, if it is of high dynamic range."""
    name = HDR_TRANSFERS.get(transfer)
    return None if name is None else f"a picture of high dynamic range ({name}): save it with an ordinary tone curve"
