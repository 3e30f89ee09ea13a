"""The text of a drafted study.toml around its panels."""

from __future__ import annotations

HEAD = """\
# What this study is. Every "{pending}" is still to be filled in: `sevhisto check` lists them, and everything else that is wrong.
# All lengths are in micrometres.

[study]
name = {name}
slides_dir = {slides_dir}            # folder of the image files; they are never written to
blind = true                  # animals and groups are shown by code until `sevhisto compare --unblind`
orientation = "transverse"    # plane of the sections: transverse, sagittal or horizontal
section_spacing_um = "{pending}"      # distance between neighbouring sections that are analysed, of one panel
section_thickness_um = 20
sampling = ""                 # such as "1 in 10, random start"
shrinkage_linear_pct = 0      # recorded, not applied

# Panels: markers stained together. `channel` is the name of the channel in the file, or its number from 1.
# role: nuclei, landmark (GFAP: its border is the lesion's), macrophage, ecm, vessel, myelin, tracer (sEV), autofluorescence (an empty
#   channel), cell_body (cells without a nuclear stain), other
# kind = "brightfield" is a stain seen in colour; `channel` is then a component of its stain:
#   hematoxylin_dab (hematoxylin, dab), hematoxylin_eosin_dab (hematoxylin, eosin, dab), masson (collagen, cytoplasm),
#   picrosirius (collagen, picric). Their colours are estimated for each batch; `stain_vectors` gives measured ones.
#   A colour picture of fluorescence cannot be measured: export its raw channels from the microscope.
# Also possible per channel: aliases = ["..."], antibody, clone, dilution, threshold, cell_compartment
"""

TAIL = """\
# Stain batches need an entry only where something is known of them.
# [batches.1]
# date = "2024-05-13"
# bleed_through = { CD206 = { CD68 = 0.03 } }    # share of CD68's signal that leaks into CD206; else single_stain slides tell it

# Protocols: how the treatment was given, one per group, vehicle too. Take away the # and make them yours; animals.csv names one for each
# animal. Write routes and vehicles alike everywhere ("intravenous", not once "i.v."). A name with a space stands in quotes.
# A group that was given nothing (sham, injury only) is a name without lines below it (protocols.sham). Where no group was given anything
# and there is one group only, declare none, and leave the column protocol of animals.csv empty.
# [protocols.vehicle]
# route = "intravenous"
# vehicle = "PBS"
# total_dose = 0
# dose_unit = "particles"       # particles or ug
# injections_h = [24, 48, 72]   # hours after injury
#
# [protocols.daily_x3]
# route = "intravenous"
# vehicle = "PBS"
# total_dose = 1e9
# dose_unit = "particles"
# injections_h = [24, 48, 72]
#
# [protocols.infusion_3d]
# route = "intrathecal"
# vehicle = "PBS"
# total_dose = 1e9
# dose_unit = "particles"
# infusion = { start_h = 24, duration_h = 72, rate_ul_h = 1.0, loaded_volume_ul = 100 }

# Planned comparisons: mean of a minus mean of b.
# [[contrasts]]
# name = "daily against vehicle"
# a = ["daily_x3"]
# b = ["vehicle"]

# At most two primary endpoints: columns of results/animals_wide.csv, or motor endpoints.
[endpoints]
primary = []
secondary = []

[zones]
edges_um = [0, 250, 500, 1000, 2000]    # rings around the lesion core, outwards from its border

[thresholds]                  # best first; a channel's own `threshold` comes before all
ladder = ["no_primary", "unstained", "uninjured", "batch"]

[motor]
test = "BBB"
maximum = 21
criterion = 9                 # score whose first day counts as onset of recovery
"""
