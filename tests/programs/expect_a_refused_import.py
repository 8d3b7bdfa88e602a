"""What a subinterpreter imports: culpa, which says that it takes the main interpreter."""

message = "imported"
try:
    import culpa  # noqa: F401
except ImportError as error:
    message = str(error)
assert "main interpreter" in message, message
