# The contrasts of sevhisto, computed again in R from the values of the animals. Base R only.
#
#   Rscript contrasts.R        (or source("contrasts.R") with this folder as working directory)
#
# Reads values.csv (a row per animal and endpoint), contrasts.csv (the weight of each group) and expected.csv (what sevhisto found);
# writes contrasts_r.csv, and says how far the two are apart. Permutation p: every arrangement where sevhisto examined every one, else a
# sample of the same size, which can only agree within its error.

given <- commandArgs(trailingOnly = FALSE)
script <- sub("^--file=", "", given[grepl("^--file=", given)])
if (length(script) == 1) setwd(dirname(script))

table_of <- function(name, text) {
  kinds <- setNames(rep("character", length(text)), text)
  read.csv(name, colClasses = kinds, na.strings = "", check.names = FALSE, fileEncoding = "UTF-8", quote = "\"")
}
values <- table_of("values.csv", c("animal", "group", "block", "endpoint", "role", "panel", "zone", "marker", "metric", "unit", "flags"))
plan <- table_of("contrasts.csv", c("contrast", "group"))
expected <- table_of("expected.csv", c("endpoint", "contrast", "permutation"))
values <- values[!is.na(values$value) & !is.na(values$group), ]

# weight of each animal in a contrast of group means; with blocks by least squares on group and block, where blocks hold what is compared
layout <- function(group, shares, block) {
  design <- outer(group, seq_along(shares), "==") * 1
  wanted <- shares
  if (!is.null(block)) {
    within <- outer(block, sort(unique(block))[-1], "==") * 1
    design <- cbind(design, within)
    wanted <- c(shares, rep(0, ncol(within)))
  }
  parts <- svd(design)
  kept <- parts$d > 1e-10 * parts$d[1]
  inverse <- parts$v[, kept, drop = FALSE] %*% (t(parts$u[, kept, drop = FALSE]) / parts$d[kept])
  weights <- drop(wanted %*% inverse)
  if (max(abs(weights %*% design - wanted)) > 1e-9) return(layout(group, shares, NULL))
  if (is.null(block)) weights <- (shares / tabulate(group))[group]
  hat <- design %*% inverse
  left <- 1 - diag(hat)
  list(weights = weights, squares = ifelse(left > 1e-9, weights^2 / left, 0), residuals = diag(length(group)) - hat)
}

# Welch's t interval of a contrast; within blocks with HC2 variances (MacKinnon and White 1985) and df after Bell and McCaffrey (2002)
interval <- function(values, group, where) {
  estimate <- sum(where$weights * values)
  varied <- any(tapply(values, group, function(g) max(g) > min(g)))
  if (min(tabulate(group)) < 2 || !varied) return(c(estimate, NA, NA, NA))
  rest <- drop(where$residuals %*% values)
  free <- as.vector(tapply(diag(where$residuals), group, sum))
  spread <- as.vector(tapply(rest^2, group, sum))
  if (max(spread) <= (1e-9 * max(abs(values)))^2 || any(free < 1e-9)) return(c(estimate, NA, NA, NA))
  each <- sqrt(spread / max(spread) / free)[group]
  form <- outer(each, each) * ((where$residuals * rep(where$squares, each = length(group))) %*% where$residuals)
  df <- sum(diag(form))^2 / sum(form^2)
  se <- sqrt(sum(where$squares * rest^2))
  c(estimate, estimate + c(-1, 1) * qt(0.975, df) * se, 2 * pt(-abs(estimate) / se, df))
}

# difference over the pooled SD, with the exact small-sample correction (Hedges 1981)
hedges <- function(values, group, estimate) {
  sizes <- tabulate(group)
  df <- sum(sizes - 1)
  varied <- any(tapply(values, group, function(g) max(g) > min(g)))
  if (min(sizes) < 2 || !varied) return(NA)
  pooled <- sqrt(sum((sizes - 1) * tapply(values, group, var)) / df)
  exp(lgamma(df / 2) - lgamma((df - 1) / 2)) / sqrt(df / 2) * estimate / pooled
}

# statistics of every way to hand out `sizes` weights of each class
every <- function(classes, sizes, centred) {
  if (length(classes) == 1) return(classes * sum(centred))
  picks <- combn(length(centred), sizes[1])
  unlist(lapply(seq_len(ncol(picks)), function(k) {
    classes[1] * sum(centred[picks[, k]]) + every(classes[-1], sizes[-1], centred[-picks[, k]])
  }))
}

# two-sided permutation p of a contrast, within blocks; statistics that differ by rounding only are equal
permutation <- function(values, weights, block, kind, arrangements) {
  if (is.na(kind)) return(NA)
  blocks <- split(seq_along(values), if (is.null(block)) rep(1, length(values)) else block)
  centred <- values - mean(values)
  for (i in blocks) centred[i] <- centred[i] - mean(centred[i])
  observed <- abs(sum(weights * centred))
  limit <- observed - 1e-9 * max(observed, max(abs(centred)) * max(abs(weights)))
  alike <- round(weights / max(abs(weights)), 12) * max(abs(weights))
  if (kind == "exact") {
    parts <- lapply(blocks, function(i) {
      classes <- sort(unique(alike[i]))
      every(classes, as.vector(table(factor(alike[i], classes))), centred[i])
    })
    return(mean(abs(Reduce(function(a, b) as.vector(outer(a, b, "+")), parts)) >= limit))
  }
  set.seed(1)
  one <- function(i) sum(weights[i[sample.int(length(i))]] * centred[i])
  sampled <- vapply(seq_len(arrangements), function(k) sum(vapply(blocks, one, 0)), 0)
  (sum(abs(sampled) >= limit) + 1) / (arrangements + 1)
}

one <- function(endpoint, contrast, kind, arrangements) {
  rows <- plan[plan$contrast == contrast, ]
  mine <- values[values$endpoint == endpoint & values$group %in% rows$group, ]
  group <- match(mine$group, rows$group)
  x <- mine$value
  found <- rep(NA, 9)
  if (length(x) && min(tabulate(group, nrow(rows))) > 0) {
    block <- if (all(is.na(values$block))) NULL else mine$block
    where <- layout(group, rows$weight, block)
    ratio <- if (min(x) > 0) exp(interval(log(x), group, where)[1:3]) else c(NA, NA, NA)
    means <- interval(x, group, where)
    p <- permutation(x, where$weights, block, kind, arrangements)
    found <- c(means[1:3], hedges(x, group, means[1]), ratio, means[4], p)
    if (max(x) == min(x)) found <- c(0, NA, NA, NA, if (x[1] > 0) 1 else NA, NA, NA, NA, NA)
  }
  setNames(found, c("estimate", "ci_low", "ci_high", "hedges_g", "ratio", "ratio_low", "ratio_high", "p_welch", "p"))
}

columns <- c("estimate", "ci_low", "ci_high", "hedges_g", "ratio", "ratio_low", "ratio_high", "p_welch", "p")
found <- t(mapply(one, expected$endpoint, expected$contrast, expected$permutation, expected$arrangements))
result <- data.frame(expected[c("endpoint", "contrast")], found, row.names = NULL, check.names = FALSE)
write.csv(result, "contrasts_r.csv", row.names = FALSE, na = "", fileEncoding = "UTF-8")

known <- as.matrix(expected[columns])
storage.mode(known) <- "double"
apart <- abs(found - known) / pmax(abs(known), abs(found), 1e-300)
apart[found == known] <- 0
sampled <- expected$permutation %in% "sampled"
apart[sampled, "p"] <- NA
error <- sqrt(2 * known[, "p"] * (1 - known[, "p"]) / expected$arrangements) + 2 / expected$arrangements
astray <- sum(abs(found[sampled, "p"] - known[sampled, "p"]) > 5 * error[sampled])
missing <- sum(is.na(found) != is.na(known))
worst <- if (all(is.na(apart))) 0 else max(apart, na.rm = TRUE)
cat(sprintf("%d contrasts computed again. Largest relative difference to sevhisto: %.1e. Known to one of the two only: %d.\n",
            nrow(result), worst, missing))
if (any(sampled)) cat(sprintf("%d permutation p from samples; farther apart than two samples can be: %d.\n", sum(sampled), astray))
if (worst > 1e-6 || missing > 0 || astray > 0) quit(status = 1)
