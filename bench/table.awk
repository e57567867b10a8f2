# What script/bench makes of its rounds. Reads lines "round <TAB> load <TAB> who <TAB> value" and prints a Markdown
# table: for each load and who the median of the rounds, least to most, and the median of what BASE took in the
# same round for each of it.
BEGIN { FS = "\t" }

{
  if (!(($2, $3) in count)) {
    if (!($2 in whos)) loads[++load_count] = $2
    who[$2, ++whos[$2]] = $3
  }
  values[$2, $3, ++count[$2, $3]] = $4
  at[$1, $2, $3] = $4
  rounds[$1] = 1
}

function sort(list, n,    i, j, held) {
  for (i = 2; i <= n; ++i) {
    held = list[i]
    for (j = i - 1; j > 0 && list[j] > held; --j) list[j + 1] = list[j]
    list[j + 1] = held
  }
}
function median(list, n) { return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2 }
function shown(value) { return value < 10 ? sprintf("%.2f", value) : sprintf("%.0f", value) }

END {
  printf "| load | who | median | least to most | %s / it |\n|---|---|---:|---:|---:|\n", BASE
  for (l = 1; l <= load_count; ++l) {
    load = loads[l]
    for (w = 1; w <= whos[load]; ++w) {
      name = who[load, w]
      n = count[load, name]
      for (i = 1; i <= n; ++i) list[i] = values[load, name, i] + 0
      sort(list, n)
      printf "| %s | %s | %s | %s to %s |", load, name, shown(median(list, n)), shown(list[1]), shown(list[n])
      n = 0
      for (round in rounds) {
        if (((round, load, name) in at) && ((round, load, BASE) in at) && at[round, load, name] > 0) {
          ratios[++n] = at[round, load, BASE] / at[round, load, name]
        }
      }
      sort(ratios, n)
      if (name == BASE || n == 0) print " |"
      else printf " %.2f |\n", median(ratios, n)
    }
  }
}
