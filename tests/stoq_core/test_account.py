"""The account of an opened payload: claims, and what nobody claimed."""

from hypothesis import given
from hypothesis import strategies as st

from stoq_core.account import MIN_GAP_BYTES, Account, Claim


def gaps(content: bytes, *claims: tuple[int, int]) -> list[tuple[str, int, int]]:
    """The gaps of `content` behind these structure claims (offset, size)."""
    account = Account(len(content))
    for offset, size in claims:
        account.structure(offset, size)
    return [tuple(gap) for gap in account.gaps(memoryview(content))]


def test_what_nobody_claims_is_lead_gap_or_tail() -> None:
    """Names say where a leftover stood."""
    content = b"leading bytes" + b"H" * 10 + b"between it" + b"H" * 10 + b"behind it all"
    assert gaps(content, (13, 10), (33, 10)) == [("lead", 0, 13), ("gap", 23, 10), ("tail", 43, 13)]


def test_padding_is_no_child_and_zeros_before_bytes_are_left_out() -> None:
    """Zeros, or one byte repeated, hold nothing; a file behind zeros begins at its own first byte."""
    assert gaps(b"H" * 8 + bytes(512), (0, 8)) == []
    assert gaps(b"H" * 8 + b"\xff" * 512, (0, 8)) == []
    assert gaps(b"H" * 8 + bytes(512) + b"0123456789", (0, 8)) == [("tail", 520, 10)]


def test_zeros_that_an_image_begins_with_stay() -> None:
    """A CD image begins with 32 KiB of them, and its marks are counted from there; others are dropped."""
    for head in (b"\1CD001", b"\0BEA01"):
        content = b"H" * 8 + bytes(40_000) + head + b"0123456789"
        assert gaps(content, (0, 8)) == [("tail", 8 + 40_000 - 32_768, 32_768 + 16)]
    assert gaps(b"H" * 8 + bytes(40_000) + b"0123456789", (0, 8)) == [("tail", 40_008, 10)]


def test_what_nobody_opened_is_no_child_of_itself() -> None:
    """A reader that gave up before its first claim leaves the payload as it is."""
    assert gaps(b"0123456789abcdef") == []


def test_asking_between_claims_changes_no_count() -> None:
    """Readers look at what is left while they walk; the coverage is that of the last answer."""
    view = memoryview(b"H" * 8 + b"0123456789" + b"behind it all")
    account = Account(len(view))
    account.structure(0, 8)
    assert [gap.size for gap in account.gaps(view)] == [23]
    account.child(8, 10)
    assert [gap.size for gap in account.gaps(view)] == [13]
    assert account.coverage().total == len(view)


def test_claims_in_any_order_and_over_each_other_count_once() -> None:
    """Readers walk tables in the order of the file's wish."""
    account = Account(100)
    account.child(50, 50)
    account.structure(0, 30)
    account.media(20, 40)
    assert list(account.gaps(memoryview(bytes(range(100))))) == []
    assert sum(account.sums().values()) == 100


@given(
    st.binary(max_size=300),
    st.lists(
        st.tuples(st.integers(-50, 350), st.integers(-5, 350), st.sampled_from(list(Claim))), max_size=20
    ),
)
def test_every_byte_is_claimed_a_gap_or_one_byte_repeated(
    content: bytes, claims: list[tuple[int, int, Claim]]
) -> None:
    """No byte that says anything is lost, whatever is claimed, within the payload or outside of it."""
    account = Account(len(content))
    covered = bytearray(len(content))
    for offset, size, kind in claims:
        getattr(account, kind.name.lower())(offset, size)
        for at in range(max(0, offset), min(offset + size, len(content))):
            covered[at] = 1
    assert sum(account.sums().values()) == sum(covered)
    if not any(covered):
        return  # nothing was opened: the payload itself is what is left
    for gap in account.gaps(memoryview(content)):
        assert not any(covered[gap.offset : gap.offset + gap.size])
        covered[gap.offset : gap.offset + gap.size] = b"\1" * gap.size
    left = bytes(byte if not seen else 32 for byte, seen in zip(content, covered, strict=True))
    for run in left.split(b" "):
        assert len(run.lstrip(b"\0")) < MIN_GAP_BYTES or len(set(run)) == 1
