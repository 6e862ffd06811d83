from trrg_core.training.views import choose_views


def test_a_frontal_and_a_lateral_view_come_before_a_second_frontal():
    views = [{"view_position": name, "jpeg": b""} for name in ("AP", "PA", "LL", "LATERAL")]
    assert [view["view_position"] for view in choose_views(views, num_views=3)] == ["PA", "LATERAL", "AP"]
