// Pages of exports. All works without this script; it sends a choice at once, and has the
// similarity that is asked for follow the drawing of those that there are.

import { find, findAll } from './dom.js'

for (const select of findAll('select[data-submits]')) {
  select.addEventListener('change', () => select.form.requestSubmit())
}

// -- the least similarity

const slider = find('#at-least-slider')
const field = find('#at-least')
const edges = slider?.dataset.edges.split(' ').map(Number) ?? []
const reaching = slider?.dataset.reaching.split(' ').map(Number) ?? []

/** The highest edge that a similarity reaches; the first for all that lie below. */
const placeOf = (least) => Math.max(0, edges.findLastIndex((edge) => edge <= least))

/** How many there are: as a rank says, or by the edge next to it. */
function words (least, rank) {
  if (rank) return `${Number(rank.dataset.count).toLocaleString('en')} of them`
  const most = Number(slider.dataset.most)
  if (least > most) return `none: the nearest has ${most.toFixed(3)}`
  const count = reaching[placeOf(least)].toLocaleString('en')
  if (least > edges[0]) return `about ${count} of them`
  return slider.dataset.all === 'yes' ? `all ${count}` : `more than ${count}`
}

function show () {
  const least = Number(field.value)
  const known = field.value.trim() !== '' && Number.isFinite(least)
  const place = known ? placeOf(least) : 0
  slider.value = place
  const ranks = findAll('[data-at-least]')
  const chosen = ranks.find((rank) => known && Number(rank.dataset.atLeast) === least)
  const told = known ? words(least, chosen) : ''
  find('#reached').textContent = told
  slider.setAttribute('aria-valuetext', known ? `${field.value}: ${told}` : 'not chosen')
  findAll('.threshold rect').forEach((bar) => {
    bar.classList.toggle('below', Number(bar.dataset.place) < place)
  })
  for (const rank of ranks) rank.removeAttribute('aria-current')
  chosen?.setAttribute('aria-current', 'true')
}

function choose (least) {
  field.value = least
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

// -- what is on its way

document.addEventListener('htmx:beforeSwap', (event) => {
  const { xhr, target, isError, pathInfo } = event.detail
  if (isError) {
    // Where the server does not answer, what is shown stays.
    event.detail.shouldSwap = false
    if (xhr.status === 404) target.remove() // it was deleted elsewhere
  } else if (new URL(xhr.responseURL).pathname !== pathInfo.requestPath) {
    // Nobody is signed in any more: the page leads to where one can.
    event.detail.shouldSwap = false
    location.reload()
  }
})
