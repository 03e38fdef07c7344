// A slider over a histogram of similarities (templates/search/_histogram.html): each of
// its steps is the lower edge of a bar.

import { findAll } from './dom.js'

const numbers = (text) => text.split(' ').map(Number)

export const edgesOf = (slider) => numbers(slider.dataset.edges)

/** For each edge, how many candidates have at least that similarity. */
export const countsOf = (slider) => numbers(slider.dataset.reaching)

/** Describe the chosen edge to screen readers, and fade the bars below it. */
export function showChoice (slider, description) {
  slider.setAttribute('aria-valuetext', description)
  for (const bar of findAll('rect', slider.closest('.drawing'))) {
    bar.classList.toggle('below', Number(bar.dataset.place) < Number(slider.value))
  }
}
