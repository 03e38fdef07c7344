// Pages of exports. They work without this script; it submits choices at once, and
// connects the field for the least similarity to the histogram.

import { find, findAll } from './dom.js'
import { countsOf, edgesOf, showChoice } from './histogram_slider.js'

for (const select of findAll('select[data-submits]')) {
  select.addEventListener('change', () => select.form.requestSubmit())
}

// -- the least similarity

const slider = find('#at-least-slider')
const field = find('#at-least')
const edges = slider ? edgesOf(slider) : []
const counts = slider ? countsOf(slider) : []

/** The index of the highest edge that is not above a similarity; 0 if all are. */
const placeOf = (similarity) => Math.max(0, edges.findLastIndex((edge) => edge <= similarity))

/** Describe how many images reach a similarity: as a rank says, or by the edge below. */
function describe (similarity, rank) {
  if (rank) return `${Number(rank.dataset.count).toLocaleString('en')} of them`
  const nearest = Number(slider.dataset.nearest)
  if (similarity > nearest) return `none: the nearest has ${nearest.toFixed(3)}`
  const count = counts[placeOf(similarity)].toLocaleString('en')
  if (similarity > edges[0]) return `about ${count} of them`
  return slider.dataset.all === 'yes' ? `all ${count}` : `more than ${count}`
}

function show () {
  const similarity = Number(field.value)
  const isNumber = field.value.trim() !== '' && Number.isFinite(similarity)
  slider.value = isNumber ? placeOf(similarity) : 0
  const ranks = findAll('[data-at-least]')
  const chosen = ranks.find((rank) => isNumber && Number(rank.dataset.atLeast) === similarity)
  const description = isNumber ? describe(similarity, chosen) : ''
  find('#reached').textContent = description
  showChoice(slider, isNumber ? `${field.value}: ${description}` : 'not chosen')
  for (const rank of ranks) rank.removeAttribute('aria-current')
  chosen?.setAttribute('aria-current', 'true')
}

function choose (similarity) {
  field.value = similarity
  show()
}

if (slider) {
  slider.addEventListener('input', () => choose(edges[slider.value]))
  field.addEventListener('input', show)
  for (const rank of findAll('[data-at-least]')) {
    rank.addEventListener('click', (event) => {
      event.preventDefault()
      choose(rank.dataset.atLeast)
    })
  }
  show()
}

// -- progress

document.addEventListener('htmx:beforeSwap', (event) => {
  const { xhr, target, isError, pathInfo } = event.detail
  if (isError) {
    // If the server does not answer, the last state stays.
    event.detail.shouldSwap = false
    if (xhr.status === 404) target.remove() // it was deleted elsewhere
  } else if (new URL(xhr.responseURL).pathname !== pathInfo.requestPath) {
    // Signed out meanwhile: reloading leads to the sign-in page.
    event.detail.shouldSwap = false
    location.reload()
  }
})
