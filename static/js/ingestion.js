// The page steers imports without this script. It adds ranges by the Shift key, how many
// shards are chosen, and a word when the server does not answer.

const find = (selector) => document.querySelector(selector)
const boxes = () => [...document.querySelectorAll('#cells input')]

let last = null // the cell that was clicked before
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

// A failed question is asked again two seconds later; what is shown grows old meanwhile.
const stale = (old) => find('#figures')?.classList.toggle('stale', old)
for (const failure of ['htmx:sendError', 'htmx:timeout', 'htmx:responseError']) {
  document.addEventListener(failure, () => stale(true))
}
document.addEventListener('htmx:beforeSwap', ({ detail }) => {
  if (detail.isError) detail.shouldSwap = false
})
