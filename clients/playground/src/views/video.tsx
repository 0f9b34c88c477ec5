import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { isRecord, type TaskCard } from '../api'
import { colourOf } from '../colours'
import { save } from '../files'
import { Icon } from '../parts/icons'
import type { Item } from '../run'
import { TaskView, useBench } from './task_view'

interface Happening extends Item {
  start_time: string
  end_time: string
  start_s: number
  end_s: number
  description: string | null
}

/** What happens when, on a timeline under the clip. */
export function Video({ task, active }: { task: TaskCard; active: boolean }) {
  const bench = useBench(task, active)
  const { run } = bench
  const player = useRef<HTMLVideoElement>(null)
  const [lasts, setLasts] = useState(0)
  const [nowS, setNow] = useState(0)
  const [broken, setBroken] = useState(false)

  const events = useMemo(
    () => [...((run.result?.events as Happening[] | undefined) ?? (run.items as Happening[]))].sort((a, b) => a.start_s - b.start_s),
    [run.items, run.result],
  )
  const durationS = Number(run.result?.duration_s ?? 0) || lasts || Math.max(1, ...events.map((event) => event.end_s))

  useEffect(() => {
    setBroken(false)
    setLasts(0)
    setNow(0)
  }, [bench.url])

  function jump(toS: number) {
    if (player.current) player.current.currentTime = toS
    setNow(toS)
  }

  const sampling = isRecord(run.result?.sampling) ? run.result.sampling : undefined
  const summary = `${events.length} ${events.length === 1 ? 'event' : 'events'}`
  return (
    <TaskView
      bench={bench}
      verb="Find events"
      first={['query']}
      hints={{ query: 'everything that happens' }}
      summary={summary}
      stage={
        <div class="player">
          <video
            ref={player}
            src={bench.url}
            controls
            muted
            playsInline
            preload="auto"
            aria-label={bench.file?.name}
            onLoadedMetadata={(event) => setLasts(isFinite(event.currentTarget.duration) ? event.currentTarget.duration : 0)}
            onTimeUpdate={(event) => setNow(event.currentTarget.currentTime)}
            onError={() => setBroken(true)}
          />
          {broken && <p class="muted">This browser cannot play this kind of clip; the server can read it.</p>}
          <Timeline events={events} durationS={durationS} nowS={nowS} jump={jump} hovered={bench.hovered} hover={bench.hover} />
        </div>
      }
    >
      {(events.length > 0 || run.state === 'done') && (
        <div class="card results" data-state={run.state}>
          <header>
            <h2>{run.state === 'streaming' ? `${summary} so far` : summary}</h2>
            {run.result && (
              <button type="button" class="quiet" onClick={() => save('events.json', JSON.stringify(run.result, null, 2), 'application/json')}>
                <Icon name="down" size={16} /> JSON
              </button>
            )}
          </header>
          {sampling && (
            <p class="fine">
              Seen at {String(sampling.fps)} frames a second: {String(sampling.frames)} frames
              {Number(sampling.windows) > 1 && ` in ${String(sampling.windows)} windows`}
            </p>
          )}
          {run.state === 'done' && !events.length && <p class="muted">Nothing of that kind happens in this clip.</p>}
          <ol class="found events">
            {events.map((event, at) => (
              <li key={at}>
                <button
                  type="button"
                  class={`${at === bench.hovered ? 'active' : ''}${nowS >= event.start_s && nowS < event.end_s ? ' current' : ''}`}
                  onClick={() => jump(event.start_s)}
                  onPointerEnter={() => bench.hover(at)}
                  onPointerLeave={() => bench.hover(undefined)}
                >
                  <i class="dot" style={{ background: colour(event, events) }} />
                  <code>
                    {event.start_time} – {event.end_time}
                  </code>
                  <span class="grow">{event.description ?? 'Event'}</span>
                </button>
              </li>
            ))}
          </ol>
        </div>
      )}
    </TaskView>
  )
}

const named = (event: Happening) => event.description ?? ''
const colour = (event: Happening, events: Happening[]) => colourOf(named(event), [...new Set(events.map(named))])

interface TimelineProps {
  events: Happening[]
  durationS: number
  nowS: number
  jump: (toS: number) => void
  hovered: number | undefined
  hover: (at: number | undefined) => void
}

/** For the pointer; the list beside it is the same for the keyboard and for screen readers. */
function Timeline({ events, durationS, nowS, jump, hovered, hover }: TimelineProps) {
  const lanes = useMemo(() => lanesOf(events), [events])
  const share = (seconds: number) => `${Math.min(100, (seconds / durationS) * 100)}%`
  const step = stepOf(durationS)
  const ticks = Array.from({ length: Math.floor(durationS / step) + 1 }, (_, at) => at * step)
  return (
    <div
      class="timeline"
      aria-hidden="true"
      onClick={(event) => {
        const { left, width } = event.currentTarget.getBoundingClientRect()
        jump(Math.max(0, Math.min(1, (event.clientX - left) / width)) * durationS)
      }}
    >
      <div class="track" style={{ '--lanes': Math.max(1, ...lanes.map((lane) => lane + 1)) }}>
        {events.map((event, at) => (
          <div
            key={at}
            class={at === hovered ? 'span active' : 'span'}
            data-event={at}
            title={`${event.start_time} – ${event.end_time} ${event.description ?? ''}`}
            style={{
              left: share(event.start_s),
              width: share(Math.max(event.end_s - event.start_s, durationS / 400)),
              '--lane': lanes[at]!,
              '--colour': colour(event, events),
            }}
            onClick={(clicked) => {
              clicked.stopPropagation()
              jump(event.start_s)
            }}
            onPointerEnter={() => hover(at)}
            onPointerLeave={() => hover(undefined)}
          >
            <span>{event.description}</span>
          </div>
        ))}
        <i class="playhead" style={{ left: share(nowS) }} />
      </div>
      <div class="ticks">
        {ticks.map((tick) => (
          <span key={tick} style={{ left: share(tick) }}>
            {clock(tick)}
          </span>
        ))}
      </div>
    </div>
  )
}

/** The row of each event, so that none covers another. */
function lanesOf(events: Happening[]): number[] {
  const ends: number[] = []
  return events.map((event) => {
    const free = ends.findIndex((end) => end <= event.start_s)
    const lane = free < 0 ? ends.length : free
    ends[lane] = event.end_s
    return lane
  })
}

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600]
const stepOf = (durationS: number) => STEPS_S.find((step) => durationS / step <= 8) ?? 7200

const clock = (seconds: number) => {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0')
  const rest = `${two((seconds % 3600) / 60)}:${two(seconds % 60)}`
  return seconds >= 3600 ? `${Math.floor(seconds / 3600)}:${rest}` : rest
}
