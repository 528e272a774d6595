"""Published figures of the literature's test sets, to stand beside those that are measured here."""

# Ledig et al., CVPR 2017, arXiv 1609.04802, table 2; LPIPS, and ESRGAN's PSNR: Ma et al., CVPR 2020, arXiv 2003.13081,
# table 1. The latter measured its SSIM by other settings (its bicubic has 0.8245 on Set5), so it is left out here.
PUBLISHED = {
    "SRResNet": {
        "Set5": {"psnr_y": 32.05, "ssim_y": 0.9019},
        "Set14": {"psnr_y": 28.49, "ssim_y": 0.8184},
        "BSD100": {"psnr_y": 27.58, "ssim_y": 0.7620},
    },
    "SRGAN": {
        "Set5": {"psnr_y": 29.40, "ssim_y": 0.8472, "lpips": 0.0882},
        "Set14": {"psnr_y": 26.02, "ssim_y": 0.7397, "lpips": 0.1663},
        "BSD100": {"psnr_y": 25.16, "ssim_y": 0.6688, "lpips": 0.1980},
    },
    "ESRGAN": {
        "Set5": {"psnr_y": 30.454, "lpips": 0.0748},
        "Set14": {"psnr_y": 26.276, "lpips": 0.1329},
        "BSD100": {"psnr_y": 25.317, "lpips": 0.1614},
    },
}
SOURCES = """\
Published: PSNR and SSIM of SRResNet and SRGAN from Ledig et al. (arXiv 1609.04802, table 2), who measured SSIM with
another program (their bicubic has 0.8211 on Set5); LPIPS, and PSNR of ESRGAN, from Ma et al. (arXiv 2003.13081, table 1),
whose SRGAN is a retrained one."""
