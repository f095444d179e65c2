"""An operation of the program leads back to the line of the network that it comes from."""

from pathlib import Path

import pytest

from jaxseg.planning import lines
from jaxseg.planning.lines import PACKAGE, lines_of


def program(own: Path) -> str:
    """Tables as XLA writes them; frame 4 is a convolution that `own` and a library call."""
    return f"""\
HloModule jit_train_step, is_scheduled=true

FileNames
1 "{PACKAGE}/run/step.py"
2 "{PACKAGE}/models/unet.py"
3 "{PACKAGE}/models/parts/convolution.py"
4 "/somewhere/site-packages/optax/update.py"
5 "{own}"

FunctionNames
1 "train_step"

FileLocations
1 {{file_name_id=1 function_name_id=1 line=140 end_line=140 column=9 end_column=30}}
2 {{file_name_id=2 function_name_id=1 line=92 end_line=92 column=9 end_column=30}}
3 {{file_name_id=2 function_name_id=1 line=130 end_line=130 column=9 end_column=30}}
4 {{file_name_id=3 function_name_id=1 line=45 end_line=45 column=9 end_column=30}}
5 {{file_name_id=4 function_name_id=1 line=7 end_line=7 column=9 end_column=30}}
6 {{file_name_id=5 function_name_id=1 line=11 end_line=11 column=9 end_column=30}}

StackFrames
1 {{file_location_id=1 parent_frame_id=1}}
2 {{file_location_id=2 parent_frame_id=2}}
3 {{file_location_id=3 parent_frame_id=3}}
4 {{file_location_id=4 parent_frame_id=4}}
5 {{file_location_id=5 parent_frame_id=2}}
6 {{file_location_id=6 parent_frame_id=2}}
7 {{file_location_id=4 parent_frame_id=7}}

%computation (a: f32[]) -> f32[] {{
"""


def test_the_line_is_the_innermost_one_of_a_network(tmp_path: Path) -> None:
    own = tmp_path / "my_net.py"
    own.touch()
    table = lines_of(program(own))
    assert [line for _, line in table.stack(4)] == [45, 130, 92, 140]
    assert table.of(4) == "jaxseg/models/unet.py:130"
    assert table.of(7) == "my_net.py:11"  # a network of the user's own
    assert table.of(5) == "jaxseg/run/step.py:140"  # no network: the optimizer
    assert table.of(0) == ""
    assert lines_of("HloModule bare\n").of(4) == ""


@pytest.mark.parametrize(
    ("scope", "module", "backward"),
    [
        ("jit(train_step)/jvp(UNet)/encoder1/conv1/conv_general_dilated", "encoder1/conv1", False),
        (
            "jit(train_step)/transpose(jvp(UNet))/up1/cond/branch_0_fun/transpose(jvp())/dot",
            "up1",
            True,
        ),
        ("jit(train_step)/mul", "", False),
        ("", "", False),
    ],
)
def test_the_module_is_what_jax_names(scope: str, module: str, backward: bool) -> None:
    assert lines.module(scope) == (module, backward)


def test_a_path_is_shown_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lines.shown(PACKAGE / "models" / "unet.py") == "jaxseg/models/unet.py"
    assert lines.shown(tmp_path / "nets" / "mine.py") == "nets/mine.py"
    assert lines.shown(Path("/elsewhere/far/away.py")) == "away.py"
