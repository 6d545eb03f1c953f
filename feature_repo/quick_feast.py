"""Import Feast in two seconds instead of seven. To be imported before Feast itself, and only where Feast is used: it takes 90 MB."""

import typeguard

# Feast asks typeguard to rewrite its classes as they are imported: 5 of the 7 seconds that `import feast` takes, in every
# process. What it checks are arguments that our type checker has checked already, so here the decorator does nothing.
_rewriting = typeguard.typechecked
typeguard.typechecked = lambda target=None, **_: target or (lambda decorated: decorated)  # type: ignore[assignment]
try:
    import feast  # noqa: F401
finally:
    typeguard.typechecked = _rewriting
