// The import page works without this script. It adds ranges with the Shift key, the
// number of chosen shards, and a notice when the server does not answer.

import { find, findAll } from './dom.js'

const boxes = () => findAll('#cells input')

let last = null // the cell clicked last
document.addEventListener('click', (event) => {
  if (!event.target.matches('#cells input')) return
  const all = boxes()
  if (event.shiftKey && all.includes(last)) {
    const ends = [all.indexOf(last), all.indexOf(event.target)].sort((a, b) => a - b)
    for (const box of all.slice(ends[0], ends[1] + 1)) box.checked = event.target.checked
    count()
  }
  last = event.target
})

function count () {
  const chosen = boxes().filter((box) => box.checked).length
  const single = !find('#steer [name=state]:checked') && !find('#range').value.trim()
  find('#how-many').textContent = single && chosen ? ` (${chosen})` : ''
}

document.addEventListener('input', (event) => {
  if (event.target.closest('#steer') && find('#how-many')) count()
})
document.addEventListener('reset', () => setTimeout(count))

// htmx polls again two seconds later; until then what is shown is marked as stale.
const markStale = () => find('#figures')?.classList.add('stale')
for (const failure of ['htmx:sendError', 'htmx:timeout', 'htmx:responseError']) {
  document.addEventListener(failure, markStale)
}
document.addEventListener('htmx:beforeSwap', ({ detail }) => {
  if (detail.isError) detail.shouldSwap = false
})
