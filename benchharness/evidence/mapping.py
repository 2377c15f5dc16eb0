"""Which heading of which text each item of the evidence belongs under. No legal claim is made."""

from __future__ import annotations

NO_LEGAL_CLAIM = (
    "Headings are cited so that a reader finds the place. This table makes no legal claim: it does "
    "not say that a requirement is fulfilled, or that it applies to the product."
)

AI_ACT = "EU AI Act, Regulation (EU) 2024/1689, Article 15"
ISO = "ISO/IEC TR 24029-1:2021"
GMLP = "FDA, Health Canada and MHRA, Good Machine Learning Practice, guiding principles, 2021"

HEADER = ("Item", "Where", AI_ACT, ISO, GMLP)
ACCURACY = "15(1) and 15(3): levels of accuracy and the metrics"
ERRORS = "15(4): resilience against errors, faults and inconsistencies"
ATTACKS = "15(5): resilience against attempts to alter use, outputs or performance"
SECURITY = "15(5): cybersecurity"
STATISTICAL = "5 Statistical methods"
EMPIRICAL = "7 Empirical methods"
REPRESENTATIVE = (
    "3 Clinical study participants and data sets are representative of the intended patient "
    "population"
)
INDEPENDENT = "4 Training data sets are independent of test sets"
CONDITIONS = "8 Testing demonstrates device performance during clinically relevant conditions"
INFORMATION = "9 Users are provided clear, essential information"
PRACTICE = "2 Good software engineering and security practices are implemented"

ROWS = (
    ("Claims on clean volumes", "evidence.html, claims.toml", ACCURACY, STATISTICAL, CONDITIONS),
    ("Operating point frozen on val", "evidence.html", ACCURACY, STATISTICAL, INDEPENDENT),
    ("Claims under artefacts", "evidence.html", ERRORS, EMPIRICAL, CONDITIONS),
    ("Claims under attacks", "evidence.html", ATTACKS, EMPIRICAL, PRACTICE),
    ("Severity at which a claim fails", "evidence.html", ERRORS, EMPIRICAL, CONDITIONS),
    ("Subgroups", "evidence.html", ACCURACY, STATISTICAL, REPRESENTATIVE),
    ("Model card", "model_card.md", ACCURACY, "–", INFORMATION),
    ("Records and predictions", "run.zip", ACCURACY, STATISTICAL, INDEPENDENT),
    ("Software bill of materials", "sbom.cdx.json", SECURITY, "–", PRACTICE),
    ("Manifest and signature", "manifest.json", SECURITY, "–", PRACTICE),
)
"""Item, file, and the headings under `HEADER`."""
