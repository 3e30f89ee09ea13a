from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.decide.epicentre import find_epicentre
from sevhisto.decide.zones import animal_zones, base_zones, cells_in_zone, section_zones
from sevhisto.types import DISTANCE_EDGES_UM, JOINT_DISTANCE_EDGES_UM, N_DISTANCE, N_JOINT_DISTANCE, NO_DISTANCE


@given(distance=st.floats(-4000, 4000))
def test_a_distance_falls_into_the_bins_of_exactly_its_zone(config_of, distance):
    fine = int(np.searchsorted(DISTANCE_EDGES_UM, distance, side="right"))
    for zone in base_zones(config_of()):
        bins = range(*zone.bins.indices(N_DISTANCE))
        assert (fine in bins) == (zone.low <= distance < zone.high)
        joint = int(np.searchsorted(JOINT_DISTANCE_EDGES_UM, distance, side="right"))
        assert (joint in range(*zone.joint_bins.indices(N_JOINT_DISTANCE))) == (zone.low <= distance < zone.high)


def test_tissue_without_a_distance_counts_in_all_only(config_of):
    for zone in base_zones(config_of()):
        assert (NO_DISTANCE in range(*zone.bins.indices(N_DISTANCE))) == (zone.name == "all")
        assert cells_in_zone(np.array([np.nan]), np.array([0]), zone).tolist() == [zone.name == "all"]


def test_names_and_halves(config_of):
    assert [z.name for z in section_zones(config_of())] == ["core", "0-250", "250-500", "500-1000", "1000-2000", "all"]
    longitudinal = section_zones(config_of(orientation="sagittal"))
    assert {z.name for z in longitudinal} == set(animal_zones(config_of()))
    assert {z.name: z.sides for z in longitudinal}["core_caudal"] == (1,)


def test_epicentre_is_the_peak_of_the_moving_average_not_of_one_section():
    position = np.arange(7) * 200.0
    area = np.array([0, 9, 0, 5, 6, 5, 0.0])  # the lone 9 is an outlier
    found = find_epicentre(position, area)
    assert (found.index, found.position_um, found.tie) == (4, 800.0, False)
    assert found.centroid_um == (position * area).sum() / area.sum()


def test_epicentre_does_not_depend_on_row_order():
    position, area = np.arange(5) * 100.0, np.array([1, 2, 6, 3, 1.0])
    order = np.array([3, 0, 4, 2, 1])
    found = find_epicentre(position[order], area[order])
    assert position[order][found.index] == 200.0


def test_ties_go_to_the_larger_own_core_then_rostral_with_a_flag():
    lone = find_epicentre(np.arange(5) * 100.0, np.array([0, 0, 5, 0, 0.0]))
    assert (lone.index, lone.tie) == (2, False)
    twin = find_epicentre(np.arange(6) * 100.0, np.array([0, 1, 4, 4, 1, 0.0]))
    assert (twin.index, twin.tie) == (2, True)


def test_no_core_has_no_epicentre_and_unknown_sections_take_no_part():
    assert find_epicentre(np.arange(3) * 1.0, np.zeros(3)) is None
    assert find_epicentre(np.zeros(0), np.zeros(0)) is None
    found = find_epicentre(np.array([0, np.nan, 200, 400.0]), np.array([1, 99, np.nan, 2.0]))
    assert found.index == 3
