// Counts items that are opened from a search as picked, without storing by whom, and
// shows how often results and items were picked.

import { find, findAll, listen } from './dom.js'
import { isUnsafe } from './hits.js'

const TERMS = ['q', 'item', 'embedding', 'concept']

listen('opened', ({ dataset, id }) => {
  const asked = new URLSearchParams(location.search)
  if (!TERMS.some((name) => asked.get(name))) return
  const form = new URLSearchParams({
    kind: 'opened',
    words: asked.get('q') ?? '',
    csrfmiddlewaretoken: find('meta[name=csrf-token]').content
  })
  // A beacon is sent even when the user leaves the page.
  navigator.sendBeacon(`/d/${dataset}/${id}/picked`, form)
})

async function showCounts () {
  for (const element of findAll('.popularity[data-from]')) {
    if (element.matches('.popular:not([open]) > *')) continue
    const address = element.dataset.from
    element.removeAttribute('data-from')
    try {
      const answer = await fetch(address)
      if (answer.ok) element.innerHTML = await answer.text()
    } catch {
      continue // the page is complete without counts
    }
    for (const link of findAll('.favourites a', element)) link.toggleAttribute('data-unsafe', isUnsafe(link.dataset.item))
    window.htmx?.process(element)
  }
}

listen('settled', showCounts)
listen('opened', showCounts)
showCounts()
document.addEventListener('toggle', ({ target }) => {
  if (target.matches?.('.popular')) showCounts()
}, true)

// A favourite that is among the results opens in the panel.
document.addEventListener('click', (event) => {
  const favourite = event.target.closest?.('.favourites a[data-item]')
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
  if (!favourite || !plain) return
  const picture = find(`main .hit[data-item="${favourite.dataset.item}"] a.picture`)
  if (!picture) return
  event.preventDefault()
  picture.click()
})
