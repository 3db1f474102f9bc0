"""The viewers: windows on trainings, results, picks, reports and models.

Scipion takes the classes that are imported here; their windows are in modules of their own and
take a Tk widget as master.
"""

from dual_scipion.viewers.scipion_viewers import (
    DualAverageViewer,
    DualModelViewer,
    DualPicksViewer,
    DualReportViewer,
    DualResultViewer,
    DualTrainingViewer,
)

__all__ = [
    "DualAverageViewer",
    "DualModelViewer",
    "DualPicksViewer",
    "DualReportViewer",
    "DualResultViewer",
    "DualTrainingViewer",
]
