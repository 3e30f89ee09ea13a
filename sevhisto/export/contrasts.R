# The contrasts of sevhisto, computed again in R from the values of the animals. Base R only.
#
#   Rscript contrasts.R        (or source("contrasts.R") with this folder as working directory)
#
# Reads values.csv (a row per animal and endpoint), contrasts.csv (the weight of each group) and expected.csv (what sevhisto found);
# writes contrasts_r.csv, and says how far the two are apart. Permutation p values are not computed here: see p_welch.

given <- commandArgs(trailingOnly = FALSE)
script <- sub("^--file=", "", given[grepl("^--file=", given)])
if (length(script) == 1) setwd(dirname(script))

table_of <- function(name, text) {
  kinds <- setNames(rep("character", length(text)), text)
  read.csv(name, colClasses = kinds, na.strings = "", check.names = FALSE, fileEncoding = "UTF-8", quote = "\"")
}
values <- table_of("values.csv", c("animal", "group", "block", "endpoint", "role", "panel", "zone", "marker", "metric", "unit", "flags"))
plan <- table_of("contrasts.csv", c("contrast", "group"))
expected <- table_of("expected.csv", c("endpoint", "contrast"))
values <- values[!is.na(values$value) & !is.na(values$group), ]

# Welch's t for a contrast of group means, df after Satterthwaite
welch <- function(groups, weight) {
  estimate <- sum(weight * sapply(groups, mean))
  varied <- any(sapply(groups, function(g) max(g) > min(g)))
  if (min(lengths(groups)) < 2 || !varied) return(c(estimate, NA, NA, NA))
  part <- weight^2 * sapply(groups, var) / lengths(groups)
  df <- 1 / sum((part / sum(part))^2 / (lengths(groups) - 1))
  se <- sqrt(sum(part))
  c(estimate, estimate + c(-1, 1) * qt(0.975, df) * se, 2 * pt(-abs(estimate) / se, df))
}

# difference over the pooled SD, with the exact small-sample correction (Hedges 1981)
hedges <- function(groups, weight) {
  df <- sum(lengths(groups) - 1)
  varied <- any(sapply(groups, function(g) max(g) > min(g)))
  if (min(lengths(groups)) < 2 || !varied) return(NA)
  pooled <- sqrt(sum((lengths(groups) - 1) * sapply(groups, var)) / df)
  exp(lgamma(df / 2) - lgamma((df - 1) / 2)) / sqrt(df / 2) * sum(weight * sapply(groups, mean)) / pooled
}

one <- function(endpoint, contrast) {
  rows <- plan[plan$contrast == contrast, ]
  mine <- values[values$endpoint == endpoint, ]
  groups <- lapply(rows$group, function(g) mine$value[mine$group == g])
  found <- c(NA, NA, NA, NA, NA, NA, NA, NA)
  if (length(groups) && min(lengths(groups)) > 0) {
    ratio <- c(NA, NA, NA)
    if (min(unlist(groups)) > 0) ratio <- exp(welch(lapply(groups, log), rows$weight)[1:3])
    means <- welch(groups, rows$weight)
    found <- c(means[1:3], hedges(groups, rows$weight), ratio, means[4])
    everything <- unlist(groups)
    if (max(everything) == min(everything)) found <- c(0, NA, NA, NA, if (everything[1] > 0) 1 else NA, NA, NA, NA)
  }
  setNames(found, c("estimate", "ci_low", "ci_high", "hedges_g", "ratio", "ratio_low", "ratio_high", "p_welch"))
}

columns <- c("estimate", "ci_low", "ci_high", "hedges_g", "ratio", "ratio_low", "ratio_high", "p_welch")
found <- t(mapply(one, expected$endpoint, expected$contrast))
result <- data.frame(expected[c("endpoint", "contrast")], found, row.names = NULL, check.names = FALSE)
write.csv(result, "contrasts_r.csv", row.names = FALSE, na = "", fileEncoding = "UTF-8")

known <- as.matrix(expected[columns])
storage.mode(known) <- "double"
apart <- abs(found - known) / pmax(abs(known), abs(found), 1e-300)
apart[found == known] <- 0
missing <- sum(is.na(found) != is.na(known))
worst <- if (all(is.na(apart))) 0 else max(apart, na.rm = TRUE)
cat(sprintf("%d contrasts computed again. Largest relative difference to sevhisto: %.1e. Known to one of the two only: %d.\n",
            nrow(result), worst, missing))
if (worst > 1e-6 || missing > 0) quit(status = 1)
