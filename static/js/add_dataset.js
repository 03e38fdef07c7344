// The steps of adding a dataset work without this script. It says that the server is
// busy, and moves the focus to the next step.

import { find } from './dom.js'

const say = (text) => { if (find('#adding .busy')) find('#adding .busy').textContent = text }

document.addEventListener('htmx:beforeRequest', () => say('Looking …'))
for (const failure of ['htmx:sendError', 'htmx:timeout']) {
  document.addEventListener(failure, () => say('The server does not answer. Try again.'))
}
// What is no step, such as a page of the proxy's own, must not replace this one.
document.addEventListener('htmx:beforeSwap', ({ detail }) => {
  if (detail.serverResponse.includes('id="adding"')) return
  detail.shouldSwap = false
  say('The server does not answer. Try again.')
})
document.addEventListener('htmx:afterSettle', ({ target }) => {
  if (target.id !== 'adding') return
  const aim = find('#adding .refused, #adding .wrong, #tested p') ?? find('#adding h1')
  aim.tabIndex = -1
  aim.focus()
  aim.scrollIntoView({ block: 'nearest' })
})

// What is typed as another model chooses it.
document.addEventListener('input', ({ target }) => {
  const choice = target.closest('.other-model')?.parentElement.querySelector('[type=radio]')
  if (choice) choice.checked = true
})
