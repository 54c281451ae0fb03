"""What is no request at all, and would be blamed on the service."""

import schemathesis


def is_plain(name):
    """Whether a multipart form may have a field of this name: in its header, a control
    character is a malformed body (RFC 9110, section 5.5), which gets its 400."""
    return all(character >= " " and character != "\x7f" for character in str(name))


@schemathesis.hook
def filter_case(context, case):
    if case.media_type == "multipart/form-data" and isinstance(case.body, dict):
        return all(is_plain(name) for name in case.body)
    return True
