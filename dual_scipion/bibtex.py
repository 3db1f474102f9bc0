"""
@article{Zeng2024DUAL,
    title = {{DUAL}: deep unsupervised simultaneous simulation and denoising for cryo-electron tomography},
    author = {Zeng, Xiangrui and Ding, Yizhe and Zhang, Yueqian and Uddin, Mostofa Rafid and Dabouei, Ali and Xu, Min},
    journal = {bioRxiv},
    year = {2024},
    doi = {10.1101/2024.03.02.583135},
    url = {https://doi.org/10.1101/2024.03.02.583135}
}
"""  # noqa: D205, D400, E501  (Scipion parses this docstring as BibTeX)
