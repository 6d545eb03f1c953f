"""The platform's one exception tree: every message says what happened, with which value, and what to do next.

PlatformError
├── SettingsError        a setting, option or environment variable cannot be used
├── SourceError          a source of events cannot be read (missing, empty, wrong columns, wrong encoding)
├── LakeError            the lake cannot be written or read as its manifests say (disk full, file changed)
├── FeatureError         a feature definition or the feature store refuses
├── RegistryError        the model registry has no such version or alias, or cannot be reached
├── ArtefactError        a stored artefact is missing, altered or of another format
└── ReplayError          a week could not be completed

A refusal by a gate, a quarantined batch and a held training run are values, not exceptions.
"""


class PlatformError(Exception):
    """Root of all errors that the platform raises on purpose."""


class SettingsError(PlatformError):
    """A setting, option or environment variable cannot be used."""


class SourceError(PlatformError):
    """A source of events cannot be read."""


class LakeError(PlatformError):
    """The lake cannot be written, or does not hold what its manifests say."""


class FeatureError(PlatformError):
    """A feature definition or the feature store refuses."""


class RegistryError(PlatformError):
    """The model registry has no such version or alias, or cannot be reached."""


class ArtefactError(PlatformError):
    """A stored artefact is missing, altered or of another format."""


class ReplayError(PlatformError):
    """A week of a replay could not be completed."""
