// What is opened after a search counts as picked; who it was is not kept. And beside
// results, and an item, stands how often they were.

import { find, findAll, heed } from './dom.js'
import { isUnsafe } from './hits.js'

const TERMS = ['q', 'item', 'embedding', 'concept']

heed('opened', ({ dataset, id }) => {
  const asked = new URLSearchParams(location.search)
  if (!TERMS.some((name) => asked.get(name))) return
  const form = new URLSearchParams({
    kind: 'opened',
    words: asked.get('q') ?? '',
    csrfmiddlewaretoken: find('meta[name=csrf-token]').content
  })
  // It arrives even if the page is left meanwhile, and nobody waits for an answer.
  navigator.sendBeacon(`/d/${dataset}/${id}/picked`, form)
})

async function showCounts () {
  for (const place of findAll('.popularity[data-from]')) {
    const address = place.dataset.from
    place.removeAttribute('data-from')
    try {
      const answer = await fetch(address)
      if (answer.ok) place.innerHTML = await answer.text()
    } catch {
      continue // pages do without
    }
    for (const link of findAll('.favourites a', place)) link.toggleAttribute('data-unsafe', isUnsafe(link.dataset.item))
    window.htmx?.process(place)
  }
}

heed('settled', showCounts)
heed('opened', showCounts)
showCounts()

// A favourite that is among the results is opened there.
document.addEventListener('click', (event) => {
  const favourite = event.target.closest?.('.favourites a[data-item]')
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
  if (!favourite || !plain) return
  const picture = find(`main .hit[data-item="${favourite.dataset.item}"] a.picture`)
  if (!picture) return
  event.preventDefault()
  picture.click()
})
