"""
@article{Zeng2024DUAL,
    title = {{DUAL}: deep unsupervised simultaneous simulation and denoising for cryo-electron tomography},
    author = {Zeng, Xiangrui and Ding, Yizhe and Zhang, Yueqian and Uddin, Mostofa Rafid and Dabouei, Ali and Xu, Min},
    journal = {bioRxiv},
    year = {2024},
    doi = {10.1101/2024.03.02.583135},
    url = {https://doi.org/10.1101/2024.03.02.583135}
}
@article{Voss2009,
    title = {{DoG} {P}icker and {T}ilt{P}icker: software tools to facilitate particle selection in single particle electron microscopy},
    author = {Voss, N. R. and Yoshioka, C. K. and Radermacher, M. and Potter, C. S. and Carragher, B.},
    journal = {Journal of Structural Biology},
    volume = {166},
    number = {2},
    pages = {205--213},
    year = {2009},
    doi = {10.1016/j.jsb.2009.01.004},
    url = {https://doi.org/10.1016/j.jsb.2009.01.004}
}
"""  # noqa: D205, D400, E501  (Scipion parses this docstring as BibTeX)
